"""Names that old nets import from libraries that have them no more."""

from port.record.stand_ins.old_worlds import with_old_names

VGG = """class VGG11_Weights:
    IMAGENET1K_V1 = Weights(url="https://there.org/models/vgg11-8a719046.pth")
"""


def test_torchvisions_nets_have_the_addresses_of_their_weights_again():
    names = {}
    text = with_old_names("torchvision.models.vgg", VGG).replace("Weights(url=", "str(")
    exec(text, names)
    assert names["model_urls"] == {"vgg11": "https://there.org/models/vgg11-8a719046.pth"}
    assert with_old_names("mine.vgg", VGG) == VGG
    assert (
        with_old_names("torchvision.models.vgg", f"{VGG}\nmodel_urls = {{}}\n").count("_urls") == 1
    )
