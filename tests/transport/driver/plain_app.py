"""An application that says nothing."""

from faust_redis import App

app = App("plain")
