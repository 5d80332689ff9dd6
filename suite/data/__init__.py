"""Where samples come from: reading, validating and splitting data sets without leaks."""

from suite.data.loading import DataReport, Split, TaskData, TaskInfo, load
from suite.data.splitting import stratified

__all__ = ["DataReport", "Split", "TaskData", "TaskInfo", "load", "stratified"]
