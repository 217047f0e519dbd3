"""Every model passes the contract that is offered to models of others."""

import pytest

from recbole_hlr import MODELS
from recbole_hlr.testing import ModelContract

NAMES = list({model: name for name, model in reversed(MODELS.items())}.values())  # one for each class


@pytest.mark.parametrize("name", NAMES)
class TestShipped(ModelContract):
    """The shipped models, each by its name."""

    @pytest.fixture(autouse=True)
    def _named(self, name, monkeypatch):
        monkeypatch.setattr(type(self), "model", name)
