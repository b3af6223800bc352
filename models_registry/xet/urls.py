from django.urls import path, re_path

from models_registry.xet import views

urlpatterns = [
    re_path(r"^v1/xorbs/default/(?P<hash_hex>[0-9a-f]{64})$", views.xorb),
    path("v1/shards", views.shard),
    path("v2/shards", views.shard, {"events": True}),
    re_path(r"^v1/chunks/default(?:-merkledb)?/(?P<hash_hex>[0-9a-f]{64})$", views.chunk),
    re_path(r"^v2/reconstructions/(?P<hash_hex>[0-9a-f]{64})$", views.reconstruction, {"version": 2}),
    re_path(r"^v1/reconstructions/(?P<hash_hex>[0-9a-f]{64})$", views.reconstruction),
    path("v1/xorbs/signed/<str:signed>", views.signed_xorb),
    re_path(r"^.*$", views.not_offered),
]
