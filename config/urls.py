from django.contrib import admin
from django.urls import include, path

from config.api_problems import UnknownAddress
from frontend.views.home import favicon

handler400 = "config.api_problems.bad_request"
urlpatterns = [
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.urls")),
    path("api/v1/", include("config.api")),
    path("api/", UnknownAddress.as_view()),
    path("api/<path:address>", UnknownAddress.as_view()),
    path("favicon.ico", favicon),
    path("", include("frontend.urls")),
]
