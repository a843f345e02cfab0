"""A Django site that publishes orders in a view and ships them in a management command.

python examples/django_app/manage.py migrate
python examples/django_app/manage.py runserver      # curl -d sku=A-1 localhost:8000/orders/
python examples/django_app/manage.py ship_orders    # in another terminal; Ctrl-C ends it calmly
"""
