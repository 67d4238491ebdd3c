"""The record on the wire, decoded and checked."""
