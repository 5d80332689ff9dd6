"""Leaderboards from stored rows: one line per model, every number with its interval, ties and failures shown."""

from suite.leaderboard.assembly import Board, board
from suite.leaderboard.columns import Column
from suite.leaderboard.selection import Selection, select

__all__ = ["Board", "Column", "Selection", "board", "select"]
