"""Training from scratch: view caches, three stages (autoencoder, encoder, denoiser) over one loop, and the final export."""
