"""Workflows: orchestration only; they import temporalio, domain, activities, policies."""
