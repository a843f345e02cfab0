"""Where the views are."""

from django.urls import path
from shop import views

urlpatterns = [
    path("orders/", views.accept),
    path("orders/async/", views.accept_async),
    path("orders/state/", views.state),
]
