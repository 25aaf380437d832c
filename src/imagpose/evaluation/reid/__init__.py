"""Re-identification: measured with and without generated pictures, and enlarged with them."""
