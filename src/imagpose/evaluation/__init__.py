"""How good a model is: measured on held-out synthetic people, beside baselines that know no model."""
