"""How the tiny model was made: pictures, tokenizer, CLIP pair, autoencoder, UNet, checkpoint (`python -m sdlesson.training`)."""
