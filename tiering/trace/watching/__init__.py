"""Watches a job that is already running, without slowing it down."""
