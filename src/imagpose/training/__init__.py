"""Training from scratch: view caches, three stages (autoencoder, encoder, denoiser) over one loop, the export."""
