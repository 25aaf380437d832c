"""The user study of pose transfer (paper Figure 6 and appendix C.3): a blind questionnaire, and what its answers say.

Definitions of PIDM (§4.2), which the paper follows; higher is better for the method:
    R2G  share of the real pictures that participants take for generated
    G2R  share of the generated pictures that they take for real
    Jab  share of the sets, one picture of each method, in which a method's picture is chosen as the best
"""
