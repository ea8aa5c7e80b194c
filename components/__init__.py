"""The component set: one module or folder per TFX component, with a `create_<component>` factory in each."""
