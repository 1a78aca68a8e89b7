"""What provisioning decides, as pure folds."""
