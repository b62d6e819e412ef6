"""URLs of what a shopper did."""

from django.urls import URLPattern, path

from orders import api, buying, views

urlpatterns = [
    path("sales/<sku>/me", views.me, name="me"),
    path("sales/<sku>/orders", buying.buy, name="buy"),
    path("session", views.sign_in, name="sign_in"),
    path("session/end", views.leave, name="sign_out"),
    path("orders/", views.my_orders, name="my_orders"),
    path("orders/<token>/", views.receipt, name="receipt"),
]

api_urlpatterns: list[URLPattern] = [
    path("auth/login", api.login),
    path("auth/logout", api.logout),
    path("orders", api.orders),
    path("orders/<sku>", api.order_in_sale),
]
