"""Raw downloads and tables to RecBole's atomic files, in one pass that holds no file in memory."""

from recbole_hlr.convert.conversion import convert

__all__ = ["convert"]
