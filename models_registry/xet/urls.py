from django.urls import path, re_path

from models_registry.xet import views

urlpatterns = [
    re_path(r"^v1/xorbs/default/(?P<hash_hex>[0-9a-f]{64})$", views.xorb),
    path("v1/shards", views.shard),
    re_path(r"^v1/reconstructions/(?P<hash_hex>[0-9a-f]{64})$", views.reconstruction),
    path("v1/xorbs/signed/<str:signed>", views.signed_xorb),
    re_path(r"^.*$", views.not_offered),
]
