package httpapi

import (
	"context"
	"net/http"
	"slices"

	"github.com/patchbay/patchbay"
	"github.com/patchbay/patchbay/internal/access"
	"github.com/patchbay/patchbay/internal/deliver"
)

// deliveryRoutes registers the routes of deliveries.
func (a *api) deliveryRoutes() {
	register(a, operation{id: "list-deliveries", method: http.MethodGet, path: "/v1/deliveries", tag: tagDeliveries, summary: "List deliveries",
		description: "The newest first, without their attempts.", needs: access.Read,
		response: newPage([]deliver.View{exampleListedDelivery}, idCursor(cursorDeliveries, int64(exampleListedDelivery.ID)))}, a.listDeliveries)
	register(a, operation{id: "get-delivery", method: http.MethodGet, path: "/v1/deliveries/{id}", tag: tagDeliveries, summary: "Get a delivery with its attempts",
		needs: access.Read, response: exampleDelivery}, a.getDelivery)
	register(a, operation{id: "retry-delivery", method: http.MethodPost, path: "/v1/deliveries/{id}/retry", tag: tagDeliveries, summary: "Retry a delivery",
		description: "Makes it due now. One that had ended begins its schedule afresh.", needs: access.Manage, response: exampleListedDelivery}, a.retryDelivery)
	register(a, operation{id: "cancel-delivery", method: http.MethodPost, path: "/v1/deliveries/{id}/cancel", tag: tagDeliveries, summary: "Cancel a delivery",
		description: "One that is being sent at this moment may still arrive.", needs: access.Manage, response: exampleListedDelivery}, a.cancelDelivery)
}

type (
	listDeliveriesInput struct {
		Paging
		State       []patchbay.DeliveryState `query:"state" doc:"One or several, separated by commas." example:"pending,failed"`
		Link        string                   `query:"link" doc:"A link's identifier."`
		Event       string                   `query:"event" doc:"An event's identifier."`
		Integration string                   `query:"integration" example:"slack"`
		Scope       string                   `query:"scope" doc:"Deliveries of events at or below it." example:"acme/repos"`
		Since       string                   `query:"since" format:"date-time" doc:"Of events received at or after it."`
	}
	deliveryListOutput struct{ Body page[deliver.View] }
	deliveryOutput     struct{ Body deliver.View }
)

func (a *api) listDeliveries(ctx context.Context, c *access.Caller, in *listDeliveriesInput) (*deliveryListOutput, error) {
	states := slices.DeleteFunc(in.State, func(s patchbay.DeliveryState) bool { return s == "" }) // "state=" selects every one
	q := deliver.Query{States: states, Integration: in.Integration, Limit: in.Limit}
	var err error
	if q.Scope, err = reachable(c, in.Scope); err != nil {
		return nil, err
	}
	if q.Since, err = timeOf("since", in.Since); err != nil {
		return nil, err
	}
	if err := filterID("link", in.Link, &q.Link); err != nil {
		return nil, err
	}
	if err := filterID("event", in.Event, &q.Event); err != nil {
		return nil, err
	}
	before, err := in.idOf(cursorDeliveries)
	if err != nil {
		return nil, err
	}
	q.Before = patchbay.DeliveryID(before)
	views, more, err := a.Deliveries.List(ctx, c, q)
	if err != nil {
		return nil, err
	}
	next := ""
	if more && len(views) > 0 {
		next = idCursor(cursorDeliveries, int64(views[len(views)-1].ID))
	}
	return &deliveryListOutput{newPage(views, next)}, nil
}

func (a *api) getDelivery(ctx context.Context, c *access.Caller, in *ByID) (*deliveryOutput, error) {
	return deliveryBy(ctx, c, in, a.Deliveries.Get)
}

func (a *api) retryDelivery(ctx context.Context, c *access.Caller, in *ByID) (*deliveryOutput, error) {
	return deliveryBy(ctx, c, in, a.Deliveries.Retry)
}

func (a *api) cancelDelivery(ctx context.Context, c *access.Caller, in *ByID) (*deliveryOutput, error) {
	return deliveryBy(ctx, c, in, a.Deliveries.Cancel)
}

// deliveryBy answers with the delivery that one of the service's calls returns.
func deliveryBy(ctx context.Context, c *access.Caller, in *ByID,
	call func(context.Context, *access.Caller, patchbay.DeliveryID) (*deliver.View, error)) (*deliveryOutput, error) {
	var id patchbay.DeliveryID
	if err := pathID("delivery", in.ID, &id); err != nil {
		return nil, err
	}
	v, err := call(ctx, c, id)
	if err != nil {
		return nil, err
	}
	return &deliveryOutput{*v}, nil
}
