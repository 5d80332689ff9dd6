"""Rows become boards: one line per model, every number with its interval, ties shown as ties, failures kept."""

from suite.leaderboard.assembly import Board, board
from suite.leaderboard.columns import Column
from suite.leaderboard.selection import Selection, select

__all__ = ["Board", "Column", "Selection", "board", "select"]
