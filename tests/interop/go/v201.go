package main

import (
	"fmt"
	"time"

	ocpp2 "github.com/lorenzodonini/ocpp-go/ocpp2.0.1"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/availability"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/provisioning"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/remotecontrol"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/transactions"
	"github.com/lorenzodonini/ocpp-go/ocpp2.0.1/types"
	"github.com/lorenzodonini/ocpp-go/ws"
)

// v201 speaks OCPP 2.0.1. The embedded handlers are nil: nobody asks for what is not defined here.
type v201 struct {
	provisioning.ChargingStationHandler
	remoteControl
	charger *charger
	station ocpp2.ChargingStation
	seqNo   int
}

// remoteControl is a name of its own, because a struct cannot embed two types called ChargingStationHandler.
type remoteControl struct {
	remotecontrol.ChargingStationHandler
}

func newV201(c *charger, station string, client ws.WsClient) *v201 {
	v := &v201{charger: c, station: ocpp2.NewChargingStation(station, nil, client)}
	v.station.SetProvisioningHandler(v)
	v.station.SetRemoteControlHandler(v)
	v.station.SetAvailabilityHandler(v)
	return v
}

func (v *v201) connect(endpoint string) error { return v.station.Start(endpoint) }
func (v *v201) disconnect()                   { v.station.Stop() }

func (v *v201) boot() (string, error) {
	answer, err := v.station.BootNotification(provisioning.BootReasonPowerUp, "ocpp-go", "Go")
	if err != nil {
		return "", err
	}
	return string(answer.Status), nil
}

func (v *v201) status(status string) error {
	_, err := v.station.StatusNotification(types.Now(), availability.ConnectorStatus(status), 1, 1)
	return err
}

func (v *v201) authorise(token string) (string, error) {
	answer, err := v.station.Authorize(token, types.IdTokenTypeISO14443)
	if err != nil {
		return "", err
	}
	return string(answer.IdTokenInfo.Status), nil
}

func (v *v201) event(
	kind transactions.TransactionEvent,
	reason transactions.TriggerReason,
	context types.ReadingContext,
	info transactions.Transaction,
	wh int,
	token *types.IdToken,
) error {
	sample := types.SampledValue{
		Value:         float64(wh),
		Context:       context,
		Measurand:     types.MeasurandEnergyActiveImportRegister,
		UnitOfMeasure: &types.UnitOfMeasure{Unit: "Wh"},
	}
	connector := 1
	seqNo := v.seqNo
	v.seqNo++
	_, err := v.station.TransactionEvent(
		kind, types.Now(), reason, seqNo, info,
		func(request *transactions.TransactionEventRequest) {
			request.Evse = &types.EVSE{ID: 1, ConnectorID: &connector}
			request.IDToken = token
			request.MeterValue = []types.MeterValue{
				{Timestamp: *types.Now(), SampledValue: []types.SampledValue{sample}},
			}
		},
	)
	return err
}

func (v *v201) start(token string, remoteStartID *int, wh int) (string, error) {
	v.seqNo = 0
	reason := transactions.TriggerReasonAuthorized
	if remoteStartID != nil {
		reason = transactions.TriggerReasonRemoteStart
	}
	info := transactions.Transaction{
		TransactionID: fmt.Sprintf("go-%d", time.Now().UnixNano()),
		ChargingState: transactions.ChargingStateCharging,
		RemoteStartID: remoteStartID,
	}
	idToken := &types.IdToken{IdToken: token, Type: types.IdTokenTypeISO14443}
	err := v.event(
		transactions.TransactionEventStarted, reason, types.ReadingContextTransactionBegin, info, wh, idToken,
	)
	return info.TransactionID, err
}

func (v *v201) meter(transaction string, wh int) error {
	info := transactions.Transaction{TransactionID: transaction, ChargingState: transactions.ChargingStateCharging}
	return v.event(
		transactions.TransactionEventUpdated, transactions.TriggerReasonMeterValuePeriodic,
		types.ReadingContextSamplePeriodic, info, wh, nil,
	)
}

func (v *v201) stop(transaction string, _ string, wh int) error {
	info := transactions.Transaction{TransactionID: transaction, StoppedReason: transactions.ReasonRemote}
	return v.event(
		transactions.TransactionEventEnded, transactions.TriggerReasonRemoteStop,
		types.ReadingContextTransactionEnd, info, wh, nil,
	)
}

func (v *v201) heartbeat() error {
	_, err := v.station.Heartbeat()
	return err
}

// --- what the central system may ask

func (v *v201) OnRequestStartTransaction(
	request *remotecontrol.RequestStartTransactionRequest,
) (*remotecontrol.RequestStartTransactionResponse, error) {
	asked("RequestStartTransaction")
	id := request.RemoteStartID
	v.charger.jobs <- func() error { return v.charger.start(request.IDToken.IdToken, &id) }
	return remotecontrol.NewRequestStartTransactionResponse(remotecontrol.RequestStartStopStatusAccepted), nil
}

func (v *v201) OnRequestStopTransaction(
	request *remotecontrol.RequestStopTransactionRequest,
) (*remotecontrol.RequestStopTransactionResponse, error) {
	asked("RequestStopTransaction")
	if v.charger.running() != request.TransactionID {
		return remotecontrol.NewRequestStopTransactionResponse(remotecontrol.RequestStartStopStatusRejected), nil
	}
	v.charger.jobs <- v.charger.stop
	return remotecontrol.NewRequestStopTransactionResponse(remotecontrol.RequestStartStopStatusAccepted), nil
}

func (v *v201) OnGetVariables(request *provisioning.GetVariablesRequest) (*provisioning.GetVariablesResponse, error) {
	asked("GetVariables")
	results := []provisioning.GetVariableResult{}
	for _, wanted := range request.GetVariableData {
		result := provisioning.GetVariableResult{
			Component: wanted.Component, Variable: wanted.Variable,
			AttributeStatus: provisioning.GetVariableStatusUnknownVariable,
		}
		if wanted.Variable.Name == "HeartbeatInterval" {
			result.AttributeStatus, result.AttributeValue = provisioning.GetVariableStatusAccepted, "300"
		}
		results = append(results, result)
	}
	return provisioning.NewGetVariablesResponse(results), nil
}

func (v *v201) OnChangeAvailability(
	request *availability.ChangeAvailabilityRequest,
) (*availability.ChangeAvailabilityResponse, error) {
	asked("ChangeAvailability")
	status := "Unavailable"
	if request.OperationalStatus == availability.OperationalStatusOperative {
		status = "Available"
	}
	v.charger.jobs <- func() error { return v.status(status) }
	return availability.NewChangeAvailabilityResponse(availability.ChangeAvailabilityStatusAccepted), nil
}

func (v *v201) OnReset(_ *provisioning.ResetRequest) (*provisioning.ResetResponse, error) {
	asked("Reset")
	v.charger.restart("ocpp2.0.1")
	return provisioning.NewResetResponse(provisioning.ResetStatusAccepted), nil
}

func (v *v201) OnTriggerMessage(
	request *remotecontrol.TriggerMessageRequest,
) (*remotecontrol.TriggerMessageResponse, error) {
	asked("TriggerMessage")
	if !v.charger.trigger(string(request.RequestedMessage)) {
		return remotecontrol.NewTriggerMessageResponse(remotecontrol.TriggerMessageStatusNotImplemented), nil
	}
	return remotecontrol.NewTriggerMessageResponse(remotecontrol.TriggerMessageStatusAccepted), nil
}
