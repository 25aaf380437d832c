"""The model: UNet with cross-view attention, feature tokens (FLC), pose encoder, autoencoder. Tensors only, no pictures.

Presets by name, their networks from files (`loading`, alone to know paths), their sizes without files.
"""
