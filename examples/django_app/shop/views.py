"""Takes orders."""

from django.db import transaction
from django.http import HttpRequest, HttpResponseBadRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_GET, require_POST

from .models import Order
from .queues import ShipOrder, orders


@require_POST
def accept(request: HttpRequest) -> HttpResponseBase:
    """Store the order, and publish it once the database has it for good."""
    sku = request.POST.get("sku")
    if not sku:
        return HttpResponseBadRequest("no sku")
    with transaction.atomic():
        order = Order.objects.create(sku=sku)
        # Not before: a worker could look for an order that is not there yet, or never will be.
        transaction.on_commit(lambda: orders().publish(ShipOrder(order_id=order.pk)))
    return JsonResponse({"order_id": order.pk}, status=202)


@require_POST
async def accept_async(request: HttpRequest) -> HttpResponseBase:
    """The same under ASGI: nothing blocks the event loop."""
    sku = request.POST.get("sku")
    if not sku:
        return HttpResponseBadRequest("no sku")
    order = await Order.objects.acreate(sku=sku)
    await orders().apublish(ShipOrder(order_id=order.pk))
    return JsonResponse({"order_id": order.pk}, status=202)


@require_GET
def state(_request: HttpRequest) -> HttpResponseBase:
    """How much there is to do."""
    stats = orders().stats()
    return JsonResponse({"ready": stats.ready, "completed": stats.completed, "dead": stats.dead})
