"""Builders: functions of the settings that return a side, or the application, with all its parts."""
