package main

import (
	"fmt"
	"strconv"

	ocpp16 "github.com/lorenzodonini/ocpp-go/ocpp1.6"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/core"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/remotetrigger"
	"github.com/lorenzodonini/ocpp-go/ocpp1.6/types"
	"github.com/lorenzodonini/ocpp-go/ws"
)

// v16 speaks OCPP 1.6. The embedded handler is nil: nobody asks for what is not defined here.
type v16 struct {
	core.ChargePointHandler
	charger *charger
	station ocpp16.ChargePoint
}

func newV16(c *charger, station string, client ws.WsClient) *v16 {
	v := &v16{charger: c, station: ocpp16.NewChargePoint(station, nil, client)}
	v.station.SetCoreHandler(v)
	v.station.SetRemoteTriggerHandler(v)
	return v
}

func (v *v16) connect(endpoint string) error { return v.station.Start(endpoint) }
func (v *v16) disconnect()                   { v.station.Stop() }

func (v *v16) boot() (string, error) {
	answer, err := v.station.BootNotification("ocpp-go", "Go")
	if err != nil {
		return "", err
	}
	return string(answer.Status), nil
}

func (v *v16) status(status string) error {
	if status == "Occupied" {
		status = "Charging"
	}
	_, err := v.station.StatusNotification(1, core.NoError, core.ChargePointStatus(status))
	return err
}

func (v *v16) authorise(token string) (string, error) {
	answer, err := v.station.Authorize(token)
	if err != nil {
		return "", err
	}
	return string(answer.IdTagInfo.Status), nil
}

func (v *v16) start(token string, _ *int, wh int) (string, error) {
	answer, err := v.station.StartTransaction(1, token, wh, types.Now())
	if err != nil {
		return "", err
	}
	return strconv.Itoa(answer.TransactionId), nil
}

func (v *v16) meter(transaction string, wh int) error {
	id, err := strconv.Atoi(transaction)
	if err != nil {
		return err
	}
	sample := types.SampledValue{
		Value:     fmt.Sprint(wh),
		Context:   types.ReadingContextSamplePeriodic,
		Measurand: types.MeasurandEnergyActiveImportRegister,
		Unit:      types.UnitOfMeasureWh,
	}
	values := []types.MeterValue{{Timestamp: types.Now(), SampledValue: []types.SampledValue{sample}}}
	_, err = v.station.MeterValues(1, values, func(request *core.MeterValuesRequest) { request.TransactionId = &id })
	return err
}

func (v *v16) stop(transaction string, token string, wh int) error {
	id, err := strconv.Atoi(transaction)
	if err != nil {
		return err
	}
	_, err = v.station.StopTransaction(wh, types.Now(), id, func(request *core.StopTransactionRequest) {
		request.IdTag = token
		request.Reason = core.ReasonRemote
	})
	return err
}

func (v *v16) heartbeat() error {
	_, err := v.station.Heartbeat()
	return err
}

// --- what the central system may ask

func (v *v16) OnRemoteStartTransaction(
	request *core.RemoteStartTransactionRequest,
) (*core.RemoteStartTransactionConfirmation, error) {
	asked("RemoteStartTransaction")
	v.charger.jobs <- func() error { return v.charger.start(request.IdTag, nil) }
	return core.NewRemoteStartTransactionConfirmation(types.RemoteStartStopStatusAccepted), nil
}

func (v *v16) OnRemoteStopTransaction(
	request *core.RemoteStopTransactionRequest,
) (*core.RemoteStopTransactionConfirmation, error) {
	asked("RemoteStopTransaction")
	if v.charger.running() != strconv.Itoa(request.TransactionId) {
		return core.NewRemoteStopTransactionConfirmation(types.RemoteStartStopStatusRejected), nil
	}
	v.charger.jobs <- v.charger.stop
	return core.NewRemoteStopTransactionConfirmation(types.RemoteStartStopStatusAccepted), nil
}

func (v *v16) OnGetConfiguration(request *core.GetConfigurationRequest) (*core.GetConfigurationConfirmation, error) {
	asked("GetConfiguration")
	known, unknown := []core.ConfigurationKey{}, []string{}
	interval := "300"
	for _, key := range request.Key {
		if key == "HeartbeatInterval" {
			known = append(known, core.ConfigurationKey{Key: key, Value: &interval})
		} else {
			unknown = append(unknown, key)
		}
	}
	answer := core.NewGetConfigurationConfirmation(known)
	answer.UnknownKey = unknown
	return answer, nil
}

func (v *v16) OnChangeAvailability(
	request *core.ChangeAvailabilityRequest,
) (*core.ChangeAvailabilityConfirmation, error) {
	asked("ChangeAvailability")
	status := "Unavailable"
	if request.Type == core.AvailabilityTypeOperative {
		status = "Available"
	}
	v.charger.jobs <- func() error { return v.status(status) }
	return core.NewChangeAvailabilityConfirmation(core.AvailabilityStatusAccepted), nil
}

func (v *v16) OnReset(_ *core.ResetRequest) (*core.ResetConfirmation, error) {
	asked("Reset")
	v.charger.restart("ocpp1.6")
	return core.NewResetConfirmation(core.ResetStatusAccepted), nil
}

func (v *v16) OnTriggerMessage(
	request *remotetrigger.TriggerMessageRequest,
) (*remotetrigger.TriggerMessageConfirmation, error) {
	asked("TriggerMessage")
	if !v.charger.trigger(string(request.RequestedMessage)) {
		return remotetrigger.NewTriggerMessageConfirmation(remotetrigger.TriggerMessageStatusNotImplemented), nil
	}
	return remotetrigger.NewTriggerMessageConfirmation(remotetrigger.TriggerMessageStatusAccepted), nil
}
