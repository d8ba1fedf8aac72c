"""What an operator may choose about the server's behaviour; the defaults are those of the reference's sandbox."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """`namespace_template` may name ``{{ project }}`` and ``{{ domain }}``; durations are seconds, sizes bytes."""

    projects: tuple[str, ...] = ("flytesnacks",)
    domains: tuple[str, ...] = ("development", "staging", "production")
    max_parallelism: int = 25
    namespace_template: str = "{{ project }}-{{ domain }}"
    link_expiry_max_s: int = 3600
    upload_folder: str = ""
    request_bytes_max: int = 64 * 1024 * 1024
    offloaded_bytes_min: int = 10 * 1024 * 1024

    def namespace(self, project: str, domain: str) -> str:
        """Return the namespace of a project's domain."""
        text = self.namespace_template
        for name, value in (("project", project), ("domain", domain)):
            text = text.replace(f"{{{{ {name} }}}}", value).replace(f"{{{{{name}}}}}", value)
        return text
