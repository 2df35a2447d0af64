from django.apps import AppConfig


class AlignmentConfig(AppConfig):
    name = "alignment"

    def ready(self) -> None:
        from alignment import receivers  # noqa: F401  (importing connects them)
        from alignment.endpoints import listed_endpoints

        listed_endpoints()  # a wrong RANKLOOP_ENDPOINTS is told at the start, not by the first page that asks for it
