// A charger on npm's ocpp-rpc: node charger.js ENDPOINT STATION SUBPROTOCOL
// Prints one JSON object per line for each thing that happened. The library's strict mode checks every message,
// ours and the central system's, against the schemas that the library brings.
'use strict';

const { randomUUID } = require('crypto');
const { readFileSync } = require('fs');
const { setTimeout: sleep } = require('timers/promises');
const { RPCClient, createRPCError, createValidator } = require('ocpp-rpc');

const [endpoint, identity, subprotocol] = process.argv.slice(2);
const { CHARGER_PASSWORD, CHARGER_CA, CHARGER_CERTIFICATE, CHARGER_KEY } = process.env;
const isV16 = subprotocol === 'ocpp1.6';
const tell = (did, facts = {}) => console.log(JSON.stringify({ did, ...facts }));
const read = (path) => (path === undefined ? undefined : readFileSync(path));
const now = () => new Date().toISOString();

// The library names its schemas of 2.1 otherwise than its own strict mode looks for them.
const schemas = require('ocpp-rpc/lib/schemas/ocpp2_1.json').map((schema) => ({
    ...schema,
    $id: schema.$id.replace(/Request$/, '.req').replace(/Response$/, '.conf'),
}));

const station = new RPCClient({
    endpoint,
    identity,
    password: CHARGER_PASSWORD,
    wsOpts: { ca: read(CHARGER_CA), cert: read(CHARGER_CERTIFICATE), key: read(CHARGER_KEY) },
    protocols: [subprotocol],
    strictMode: true,
    strictModeValidators: [createValidator('ocpp2.1', schemas)],
    reconnect: false,
});
station.on('strictValidationFailure', ({ method, error }) => tell('invalid', { action: method, error: String(error) }));
station.on('badMessage', ({ error }) => tell('invalid', { error: String(error) }));

// Work that a command asked for; it is done after the command was answered.
const work = [];
let wake = () => {};
const later = (job) => {
    work.push(job);
    wake();
};

let meter = 1000;
let running = null; // { id, token, seqNo, remoteStartId }

// --- what a charger says, in the words of each version

const status16 = { Available: 'Available', Occupied: 'Charging', Unavailable: 'Unavailable' };
const sayStatus = (status) =>
    isV16
        ? station.call('StatusNotification', { connectorId: 1, errorCode: 'NoError', status: status16[status] })
        : station.call('StatusNotification', {
              timestamp: now(),
              connectorStatus: status,
              evseId: 1,
              connectorId: 1,
          });

async function boot() {
    const answer = await station.call(
        'BootNotification',
        isV16
            ? { chargePointVendor: 'npm', chargePointModel: 'ocpp-rpc', firmwareVersion: '2.2.1' }
            : { reason: 'PowerUp', chargingStation: { vendorName: 'npm', model: 'ocpp-rpc', firmwareVersion: '2.2.1' } },
    );
    tell('booted', { status: answer.status });
}

async function authorise(token) {
    const answer = await station.call(
        'Authorize',
        isV16 ? { idTag: token } : { idToken: { idToken: token, type: 'ISO14443' } },
    );
    tell('authorised', { status: (answer.idTagInfo ?? answer.idTokenInfo).status });
}

const sampled = (context) => [
    {
        timestamp: now(),
        sampledValue: [
            isV16
                ? { value: String(meter), context, measurand: 'Energy.Active.Import.Register', unit: 'Wh' }
                : { value: meter, context, measurand: 'Energy.Active.Import.Register', unitOfMeasure: { unit: 'Wh' } },
        ],
    },
];

const transactionEvent = (eventType, triggerReason, context, info, extra = {}) =>
    station.call('TransactionEvent', {
        eventType,
        triggerReason,
        timestamp: now(),
        seqNo: running.seqNo++,
        transactionInfo: { transactionId: running.id, ...info },
        evse: { id: 1, connectorId: 1 },
        meterValue: sampled(context),
        ...extra,
    });

async function start(token, remoteStartId) {
    await sayStatus('Occupied');
    if (isV16) {
        const begun = { connectorId: 1, idTag: token, meterStart: meter, timestamp: now() };
        const answer = await station.call('StartTransaction', begun);
        running = { id: answer.transactionId, token };
    } else {
        running = { id: randomUUID(), token, seqNo: 0 };
        await transactionEvent(
            'Started',
            remoteStartId === undefined ? 'Authorized' : 'RemoteStart',
            'Transaction.Begin',
            remoteStartId === undefined ? { chargingState: 'Charging' } : { chargingState: 'Charging', remoteStartId },
            { idToken: { idToken: token, type: 'ISO14443' } },
        );
    }
    tell('started', { transaction: String(running.id), wh: meter });
    for (let sample = 0; sample < 3; sample += 1) {
        meter += 500;
        if (isV16) {
            const values = { connectorId: 1, transactionId: running.id, meterValue: sampled('Sample.Periodic') };
            await station.call('MeterValues', values);
        } else {
            await transactionEvent('Updated', 'MeterValuePeriodic', 'Sample.Periodic', { chargingState: 'Charging' });
        }
    }
    tell('metered', { wh: meter });
}

async function stop() {
    meter += 500;
    const { id, token } = running;
    if (isV16) {
        const ended = { transactionId: id, idTag: token, meterStop: meter, timestamp: now(), reason: 'Remote' };
        await station.call('StopTransaction', ended);
    } else {
        await transactionEvent('Ended', 'RemoteStop', 'Transaction.End', { stoppedReason: 'Remote' });
    }
    running = null;
    await sayStatus('Available');
    tell('stopped', { transaction: String(id), wh: meter });
}

async function restart() {
    await sleep(200); // a charger that restarts has answered first
    await station.close();
    await station.connect();
    tell('connected', { subprotocol: station.protocol });
    await boot();
    await sayStatus('Available');
    tell('restarted');
}

// --- what the central system may ask

function on(action, answer) {
    station.handle(action, ({ params }) => {
        tell('asked', { action });
        return answer(params);
    });
}

const remoteStart = (token, remoteStartId) => {
    if (running !== null) return { status: 'Rejected' };
    later(() => start(token, remoteStartId));
    return { status: 'Accepted' };
};
const remoteStop = (transaction) => {
    if (running === null || running.id !== transaction) return { status: 'Rejected' };
    later(stop);
    return { status: 'Accepted' };
};

on('RemoteStartTransaction', ({ idTag }) => remoteStart(idTag));
on('RequestStartTransaction', ({ idToken, remoteStartId }) => remoteStart(idToken.idToken, remoteStartId));
on('RemoteStopTransaction', ({ transactionId }) => remoteStop(transactionId));
on('RequestStopTransaction', ({ transactionId }) => remoteStop(transactionId));
on('GetConfiguration', ({ key = [] }) => ({
    configurationKey: key
        .filter((name) => name === 'HeartbeatInterval')
        .map((name) => ({ key: name, readonly: false, value: '300' })),
    unknownKey: key.filter((name) => name !== 'HeartbeatInterval'),
}));
on('GetVariables', ({ getVariableData }) => ({
    getVariableResult: getVariableData.map(({ component, variable }) =>
        variable.name === 'HeartbeatInterval'
            ? { component, variable, attributeStatus: 'Accepted', attributeValue: '300' }
            : { component, variable, attributeStatus: 'UnknownVariable' },
    ),
}));
on('ChangeAvailability', ({ type, operationalStatus }) => {
    later(() => sayStatus((type ?? operationalStatus) === 'Operative' ? 'Available' : 'Unavailable'));
    return { status: 'Accepted' };
});
on('TriggerMessage', ({ requestedMessage }) => {
    const messages = { StatusNotification: () => sayStatus('Available'), Heartbeat: () => station.call('Heartbeat', {}) };
    const send = messages[requestedMessage];
    if (send === undefined) return { status: 'NotImplemented' };
    later(async () => {
        await send();
        tell('triggered', { action: requestedMessage });
    });
    return { status: 'Accepted' };
});
on('Reset', () => {
    later(restart);
    return { status: 'Accepted' };
});
station.handle(({ method }) => {
    tell('asked', { action: method });
    throw createRPCError('NotImplemented');
});

async function main() {
    await station.connect();
    tell('connected', { subprotocol: station.protocol });
    await boot();
    await sayStatus('Available');
    await authorise('CARD');
    await start('CARD');
    for (;;) {
        while (work.length > 0) await work.shift()();
        await new Promise((resolve) => (wake = resolve));
    }
}

main().catch((error) => {
    tell('failed', { error: String(error) });
    process.exitCode = 1;
    return station.close({ force: true });
});
