"""Audit: what is in a folder of labelled photos, and what is wrong with it."""

from flawmap.stages.audit.auditing import AuditOptions, audit, audit_to_dict, given_groups

__all__ = ["AuditOptions", "audit", "audit_to_dict", "given_groups"]
