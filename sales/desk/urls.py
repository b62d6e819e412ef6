"""The desk's pages about sales, below the admin's address."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
