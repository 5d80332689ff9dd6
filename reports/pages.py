"""The pages of the report: what a page gets, and which pages there are."""

from dataclasses import dataclass

import pandas as pd

from suite.records.reading import StoredRecord
from suite.registry import REGISTRY, Entry
from suite.reports import sources


@dataclass(frozen=True)
class PageContext:
    """What a page of the report gets.

    Attributes:
        folder: the folder of the store.
        state: the state of the store; cached results belong to one state.
        task: spec of the selected task; empty for a page that needs none.
        model: spec of the selected model; empty for a page that needs none.
    """

    folder: str
    state: sources.State
    task: str = ""
    model: str = ""

    @property
    def rows(self) -> pd.DataFrame:
        """The stored rows: the comparable ones of the task, or all for a page that needs no task. Do not modify them.

        Columns: see `suite.store.Store.rows`; ``params``, ``checks`` and ``entry`` (the `Metric`) are JSON.
        """
        if not self.task:
            return sources.rows(self.folder, self.state)[0]
        return sources.selection(self.folder, self.task, self.state).rows

    @property
    def model_rows(self) -> pd.DataFrame:
        """The rows of the selected model."""
        rows = self.rows
        return rows[rows["model"] == self.model]

    def record(self, name: str) -> StoredRecord:
        """Return a record by its name, the column ``record`` of the rows.

        Raises:
            StoreError: the record is damaged; so do its columns and arrays if they cannot be read.
        """
        return sources.record(self.folder, name)


def installed() -> dict[str, Entry]:
    """Return the pages of the suite and of plug-ins by title, in the order of the sidebar.

    Raises:
        PluginError: a plug-in file cannot be loaded.
    """
    pages: dict[str, Entry] = {}
    for entry in sorted(REGISTRY.names("page"), key=lambda entry: (entry.meta["rank"], entry.meta["title"])):
        title = entry.meta["title"]
        pages[f"{title} ({entry.name})" if title in pages else title] = entry
    return pages
