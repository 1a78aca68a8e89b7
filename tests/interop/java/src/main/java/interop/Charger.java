package interop;

import com.google.gson.Gson;
import eu.chargetime.ocpp.ClientEvents;
import eu.chargetime.ocpp.JSONClient;
import eu.chargetime.ocpp.JSONConfiguration;
import eu.chargetime.ocpp.feature.profile.ClientCoreEventHandler;
import eu.chargetime.ocpp.feature.profile.ClientCoreProfile;
import eu.chargetime.ocpp.feature.profile.ClientRemoteTriggerProfile;
import eu.chargetime.ocpp.model.Confirmation;
import eu.chargetime.ocpp.model.Request;
import eu.chargetime.ocpp.model.core.*;
import eu.chargetime.ocpp.model.remotetrigger.TriggerMessageConfirmation;
import eu.chargetime.ocpp.model.remotetrigger.TriggerMessageRequest;
import eu.chargetime.ocpp.model.remotetrigger.TriggerMessageStatus;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * A charger on the Java client eu.chargetime.ocpp: ENDPOINT STATION SUBPROTOCOL. It prints one JSON object per
 * line for each thing that happened. The published client speaks OCPP 1.6 only.
 */
public final class Charger implements ClientCoreEventHandler {
  private interface Job {
    void run() throws Exception;
  }

  private static final long ANSWER_SECONDS = 30;

  private final ClientCoreProfile core = new ClientCoreProfile(this);
  // What commands asked for; the main thread does it after they were answered.
  private final BlockingQueue<Job> jobs = new LinkedBlockingQueue<>();
  private final String endpoint;
  private final String station;
  private JSONClient client;
  private int meter = 1000;
  private String token = "";
  private volatile Integer transaction;

  private Charger(String endpoint, String station) {
    this.endpoint = endpoint;
    this.station = station;
  }

  public static void main(String[] arguments) {
    if (!arguments[2].equals("ocpp1.6")) {
      throw new IllegalArgumentException("the library has no " + arguments[2]);
    }
    try {
      new Charger(arguments[0], arguments[1]).run();
    } catch (Exception error) {
      tell("failed", "error", error.toString());
      System.exit(1);
    }
  }

  private static synchronized void tell(String did, Object... facts) {
    Map<String, Object> line = new LinkedHashMap<>(Map.of("did", did));
    for (int i = 0; i < facts.length; i += 2) {
      line.put((String) facts[i], facts[i + 1]);
    }
    System.out.println(new Gson().toJson(line));
  }

  private void run() throws Exception {
    connect();
    AuthorizeConfirmation answer = send(core.createAuthorizeRequest("CARD"));
    tell("authorised", "status", answer.getIdTagInfo().getStatus().toString());
    start("CARD");
    while (true) {
      jobs.take().run();
    }
  }

  @SuppressWarnings("unchecked")
  private <T extends Confirmation> T send(Request request) throws Exception {
    return (T) client.send(request).toCompletableFuture().get(ANSWER_SECONDS, TimeUnit.SECONDS);
  }

  private void connect() throws Exception {
    JSONConfiguration configuration = JSONConfiguration.get();
    String password = System.getenv("CHARGER_PASSWORD");
    if (password != null) {
      configuration.setParameter(JSONConfiguration.USERNAME_PARAMETER, station);
      configuration.setParameter(JSONConfiguration.PASSWORD_PARAMETER, password);
    }
    client = new JSONClient(core, station, configuration);
    if (System.getenv("CHARGER_CA") != null) {
      client.enableWSS(Tls.context());
    }
    client.addFeatureProfile(new ClientRemoteTriggerProfile(this::handleTriggerMessageRequest));
    CompletableFuture<Void> opened = new CompletableFuture<>();
    client.connect(
        endpoint,
        new ClientEvents() {
          @Override
          public void connectionOpened() {
            opened.complete(null);
          }

          @Override
          public void connectionClosed() {
            opened.completeExceptionally(new IllegalStateException("closed"));
          }
        });
    opened.get(ANSWER_SECONDS, TimeUnit.SECONDS);
    tell("connected", "subprotocol", "ocpp1.6");
    BootNotificationConfirmation answer = send(core.createBootNotificationRequest("Java", "eu.chargetime.ocpp"));
    tell("booted", "status", answer.getStatus().toString());
    say(ChargePointStatus.Available);
  }

  private void say(ChargePointStatus status) throws Exception {
    send(core.createStatusNotificationRequest(1, ChargePointErrorCode.NoError, status));
  }

  private static ZonedDateTime now() {
    return ZonedDateTime.now(ZoneOffset.UTC);
  }

  private void start(String idTag) throws Exception {
    say(ChargePointStatus.Charging);
    StartTransactionConfirmation answer = send(core.createStartTransactionRequest(1, idTag, meter, now()));
    transaction = answer.getTransactionId();
    token = idTag;
    tell("started", "transaction", transaction.toString(), "wh", meter);
    for (int sample = 0; sample < 3; sample++) {
      meter += 500;
      SampledValue value = new SampledValue(Integer.toString(meter));
      value.setContext("Sample.Periodic");
      value.setMeasurand("Energy.Active.Import.Register");
      value.setUnit("Wh");
      MeterValuesRequest values = core.createMeterValuesRequest(1, now(), value);
      values.setTransactionId(transaction);
      send(values);
    }
    tell("metered", "wh", meter);
  }

  private void stop() throws Exception {
    meter += 500;
    StopTransactionRequest ended = core.createStopTransactionRequest(meter, now(), transaction);
    ended.setIdTag(token);
    ended.setReason(Reason.Remote);
    send(ended);
    say(ChargePointStatus.Available);
    tell("stopped", "transaction", transaction.toString(), "wh", meter);
    transaction = null;
  }

  private void restart() throws Exception {
    Thread.sleep(200); // a charger that restarts has answered first
    client.disconnect();
    connect();
    tell("restarted");
  }

  // --- what the central system may ask

  @Override
  public RemoteStartTransactionConfirmation handleRemoteStartTransactionRequest(RemoteStartTransactionRequest request) {
    tell("asked", "action", "RemoteStartTransaction");
    if (transaction != null) {
      return new RemoteStartTransactionConfirmation(RemoteStartStopStatus.Rejected);
    }
    jobs.add(() -> start(request.getIdTag()));
    return new RemoteStartTransactionConfirmation(RemoteStartStopStatus.Accepted);
  }

  @Override
  public RemoteStopTransactionConfirmation handleRemoteStopTransactionRequest(RemoteStopTransactionRequest request) {
    tell("asked", "action", "RemoteStopTransaction");
    if (!request.getTransactionId().equals(transaction)) {
      return new RemoteStopTransactionConfirmation(RemoteStartStopStatus.Rejected);
    }
    jobs.add(this::stop);
    return new RemoteStopTransactionConfirmation(RemoteStartStopStatus.Accepted);
  }

  @Override
  public GetConfigurationConfirmation handleGetConfigurationRequest(GetConfigurationRequest request) {
    tell("asked", "action", "GetConfiguration");
    List<KeyValueType> known = new ArrayList<>();
    List<String> unknown = new ArrayList<>();
    for (String key : request.getKey()) {
      if (key.equals("HeartbeatInterval")) {
        KeyValueType interval = new KeyValueType(key, false);
        interval.setValue("300");
        known.add(interval);
      } else {
        unknown.add(key);
      }
    }
    GetConfigurationConfirmation answer = new GetConfigurationConfirmation();
    answer.setConfigurationKey(known.toArray(new KeyValueType[0]));
    answer.setUnknownKey(unknown.toArray(new String[0]));
    return answer;
  }

  @Override
  public ChangeAvailabilityConfirmation handleChangeAvailabilityRequest(ChangeAvailabilityRequest request) {
    tell("asked", "action", "ChangeAvailability");
    boolean operative = request.getType() == AvailabilityType.Operative;
    jobs.add(() -> say(operative ? ChargePointStatus.Available : ChargePointStatus.Unavailable));
    return new ChangeAvailabilityConfirmation(AvailabilityStatus.Accepted);
  }

  @Override
  public ResetConfirmation handleResetRequest(ResetRequest request) {
    tell("asked", "action", "Reset");
    jobs.add(this::restart);
    return new ResetConfirmation(ResetStatus.Accepted);
  }

  private TriggerMessageConfirmation handleTriggerMessageRequest(TriggerMessageRequest request) {
    tell("asked", "action", "TriggerMessage");
    String message = request.getRequestedMessage().toString();
    Job send =
        switch (request.getRequestedMessage()) {
          case StatusNotification -> () -> say(ChargePointStatus.Available);
          case Heartbeat -> () -> send(core.createHeartbeatRequest());
          default -> null;
        };
    if (send == null) {
      return new TriggerMessageConfirmation(TriggerMessageStatus.NotImplemented);
    }
    jobs.add(
        () -> {
          send.run();
          tell("triggered", "action", message);
        });
    return new TriggerMessageConfirmation(TriggerMessageStatus.Accepted);
  }

  @Override
  public ChangeConfigurationConfirmation handleChangeConfigurationRequest(ChangeConfigurationRequest request) {
    tell("asked", "action", "ChangeConfiguration");
    return new ChangeConfigurationConfirmation(ConfigurationStatus.NotSupported);
  }

  @Override
  public ClearCacheConfirmation handleClearCacheRequest(ClearCacheRequest request) {
    tell("asked", "action", "ClearCache");
    return new ClearCacheConfirmation(ClearCacheStatus.Rejected);
  }

  @Override
  public DataTransferConfirmation handleDataTransferRequest(DataTransferRequest request) {
    tell("asked", "action", "DataTransfer");
    return new DataTransferConfirmation(DataTransferStatus.UnknownVendorId);
  }

  @Override
  public UnlockConnectorConfirmation handleUnlockConnectorRequest(UnlockConnectorRequest request) {
    tell("asked", "action", "UnlockConnector");
    return new UnlockConnectorConfirmation(UnlockStatus.NotSupported);
  }
}
