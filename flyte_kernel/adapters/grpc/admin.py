"""AdminService: what it serves of Flyte 1's control plane."""

from __future__ import annotations

from flyteidl.admin import project_pb2, version_pb2

import flyte_kernel
from flyte_kernel.adapters.grpc.entities import EntityRpcs
from flyte_kernel.adapters.grpc.executions import ExecutionCache, ExecutionRpcs
from flyte_kernel.adapters.grpc.listing import list_query
from flyte_kernel.adapters.grpc.rows import project_page
from flyte_kernel.engine.backend import Backend
from flyte_kernel.errors import NotFoundError

__all__ = ["AdminService"]


class AdminService(EntityRpcs, ExecutionRpcs):
    """One method for each RPC that is served, from request to response message or its bytes."""

    def __init__(self, engine: Backend) -> None:
        self._engine = engine
        self._cache = ExecutionCache()
        self._listed_workflows = {}

    def ListProjects(self, request: project_pb2.ProjectListRequest) -> project_pb2.Projects:
        """List projects with their domains."""
        query = list_query(request, "ListProjects", filters=request.filters, any_limit=True)
        page = project_page(self._engine.settings.projects, query)
        return project_pb2.Projects(projects=[self._project(name) for name in page.items], token=page.token)

    def GetProject(self, request: project_pb2.ProjectGetRequest) -> project_pb2.Project:
        """Return a project."""
        if request.id not in self._engine.settings.projects:
            raise NotFoundError(f"project [{request.id}] not found")
        return self._project(request.id)

    def GetDomains(self, request: project_pb2.GetDomainRequest) -> project_pb2.GetDomainsResponse:
        """List the domains that every project has."""
        return project_pb2.GetDomainsResponse(domains=self._domains())

    def GetVersion(self, request: version_pb2.GetVersionRequest) -> version_pb2.GetVersionResponse:
        """Say what answers."""
        version = version_pb2.Version(Build="flyte-kernel", Version=flyte_kernel.__version__)
        return version_pb2.GetVersionResponse(control_plane_version=version)

    def _project(self, name: str) -> project_pb2.Project:
        return project_pb2.Project(id=name, name=name, domains=self._domains())

    def _domains(self) -> list[project_pb2.Domain]:
        return [project_pb2.Domain(id=domain, name=domain) for domain in self._engine.settings.domains]
