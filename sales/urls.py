"""URLs of what is on offer."""

from django.urls import URLPattern, path

from sales import api, consumers, views

urlpatterns = [
    path("", views.home, name="home"),
    path("sales/<sku>/", views.sale_page, name="sale"),
    path("sales/<sku>/banner", views.banner, name="banner"),
    path("sales/<sku>/reminder.ics", views.reminder, name="reminder"),
]

api_urlpatterns: list[URLPattern] = [
    path("products", api.products),
    path("products/<sku>", api.product),
    path("products/<sku>/sale-status", api.sale_status),
    path("products/<sku>/stock", api.stock),
]

websocket_urlpatterns = [path("ws/sales/<sku>/", consumers.BannerConsumer.as_asgi())]
