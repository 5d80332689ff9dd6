"""Where samples come from: reading, validating and splitting data sets without leaks."""

from suite.data.deferred import resolved
from suite.data.loading import TaskData, load
from suite.data.report import DataReport, TaskInfo
from suite.data.split import Split
from suite.data.splitting import stratified

__all__ = ["DataReport", "Split", "TaskData", "TaskInfo", "load", "resolved", "stratified"]
