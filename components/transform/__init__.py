"""Transform: turns raw features into what the model is trained on, with one full pass over the training split."""
