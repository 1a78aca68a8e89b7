"""OCPP-J without sockets, clocks or threads.

Everything here is a function or a small machine that takes frames, payloads and times and gives back
values: the edge, the simulator, the processors and the tests drive the same code.

``versions``      which OCPP version, which station
``routing``       what each action is: direction, topic, answer policy
``schemas``       the JSON schemas of the three versions, compiled
``rpc``           the RPC machine: CALL, CALLRESULT, CALLERROR, CALLRESULTERROR, SEND
``inbound``       schema check with the bends that real chargers need
``bends``         what helps against each fault
``times``         charger timestamps to microseconds and back
``transactions``  ids of OCPP 1.6 transactions
``semantics``     what a message means, whatever its version
"""
