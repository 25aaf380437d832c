"""Small networks that judge pictures of rendered people: where key points are, which pixels are the person, who it is.

They ship with the package and were trained on rendered people of the training split, apart from every generator, so
that none can have learnt to please them. Of photographs they know nothing. Training: `imagpose train pose-estimator`,
`silhouette`, `identity`.
"""
