"""Where the views are."""

from django.urls import path

from . import views

urlpatterns = [
    path("users/<int:flag>", views.users),
    path("news", views.news),
    path("news/events", views.news_events),
    path("news/publish", views.publish_news),
]
