class XetFormatError(ValueError):
    """The bytes are not what the Xet specification allows. The message is one sentence for whoever sent them."""
