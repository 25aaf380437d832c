"""The user study of pose transfer (paper Figure 6 and appendix C.3): a blind questionnaire, and what its answers say."""
