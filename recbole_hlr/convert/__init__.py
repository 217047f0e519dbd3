"""Raw downloads and tables to RecBole's atomic files, in one pass that holds no file in memory."""

from recbole_hlr.convert.convert import convert

__all__ = ["convert"]
