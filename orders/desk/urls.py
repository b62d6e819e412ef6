"""The desk's pages about orders, below the admin's address."""

from django.urls import URLPattern

urlpatterns: list[URLPattern] = []
