"""Names of all corrections made to chargers' messages (quirk flags); ``MEANINGS`` explains each.

A quirk flag travels with the event, so that a corrected value can be told from a clean one and the rule that corrected
it can be revised over the raw log. What is corrected for every charger is code (the schema check, timestamps, units);
what only some models need is a rule in ``rules/*.yaml`` (``libs.ocpp.quirks.book``).
"""

from __future__ import annotations

from typing import Final

NUMBER_FOR_STRING: Final = "number_for_string"
STRING_FOR_NUMBER: Final = "string_for_number"
STRING_FOR_BOOLEAN: Final = "string_for_boolean"
DECIMAL_COMMA: Final = "decimal_comma"
FRACTION_FOR_INTEGER: Final = "fraction_for_integer"
INTEGER_TOO_LARGE: Final = "integer_too_large"
OBJECT_FOR_LIST: Final = "object_for_list"
NULL_REMOVED: Final = "null_removed"
EMPTY_REMOVED: Final = "empty_removed"
PROPERTY_UNLISTED: Final = "property_unlisted"
VALUE_DROPPED: Final = "value_dropped"
TOO_LONG: Final = "too_long"
UNLISTED_VALUE: Final = "unlisted_value"
ENUM_SPELLING: Final = "enum_spelling"
EMPTY_LIST: Final = "empty_list"
SAMPLE_DROPPED: Final = "sample_dropped"
TRANSACTION_ID_MISSING: Final = "transaction_id_missing"
TIMESTAMP_FORMAT: Final = "timestamp_format"
TIMESTAMP_WITHOUT_ZONE: Final = "timestamp_without_zone"
TIMESTAMP_NUMBER: Final = "timestamp_number"
TIMESTAMP_OUT_OF_BOUNDS: Final = "timestamp_out_of_bounds"
TIMESTAMP_UNREADABLE: Final = "timestamp_unreadable"
UNIT_ALIAS: Final = "unit_alias"
TRANSACTION_ID_ODD: Final = "transaction_id_odd"
REGISTER_ELSEWHERE: Final = "register_elsewhere"
CONNECTOR_COUNT_ABSURD: Final = "connector_count_absurd"
ENERGY_CONTRADICTS_POWER: Final = "energy_contradicts_power"
UNIT_RELABELLED: Final = "unit_relabelled"
REGISTER_PER_SESSION: Final = "register_per_session"
START_REGISTER_UNKNOWN: Final = "start_register_unknown"
LOCAL_TIME_MARKED_UTC: Final = "local_time_marked_utc"
VALUE_ALIAS: Final = "value_alias"
MEASURAND_NAMED: Final = "measurand_named"
CONNECTOR_RENUMBERED: Final = "connector_renumbered"

MEANINGS: Final[dict[str, str]] = {
    NUMBER_FOR_STRING: "a number or boolean stood where a string belongs; its text is used",
    STRING_FOR_NUMBER: "a string stood where a number belongs; it is read as one",
    STRING_FOR_BOOLEAN: "a string or number stood where a boolean belongs",
    DECIMAL_COMMA: "a decimal comma is read as a decimal point",
    FRACTION_FOR_INTEGER: "a fraction stood where an integer belongs; rounded half to even",
    INTEGER_TOO_LARGE: "an integer beyond 64 bits; kept, but its last digits are lost",
    OBJECT_FOR_LIST: "a single item stood where a list belongs; wrapped",
    NULL_REMOVED: "null stood for an absent optional; removed",
    EMPTY_REMOVED: "an empty text stood for an absent optional; removed",
    PROPERTY_UNLISTED: "a property that the specification does not list, in a message about money; passed over",
    VALUE_DROPPED: "an optional value that cannot be read, in a message about money; left out",
    TOO_LONG: "a string is longer than the specification allows; kept up to 255 bytes, then a digest of it",
    UNLISTED_VALUE: "a value that the specification does not list; kept",
    ENUM_SPELLING: "a listed value in other upper and lower case, or with stray blanks; corrected",
    EMPTY_LIST: "a list that must not be empty is; kept",
    SAMPLE_DROPPED: "a sampled value that cannot be read is left out; its neighbours are kept",
    TRANSACTION_ID_MISSING: "a StopTransaction without transactionId; bound by connector and time",
    TIMESTAMP_FORMAT: "a timestamp that is not RFC 3339",
    TIMESTAMP_WITHOUT_ZONE: "a timestamp without zone; read in the charger's configured zone, else UTC",
    TIMESTAMP_NUMBER: "a bare number as timestamp; read as seconds or milliseconds since 1970",
    TIMESTAMP_OUT_OF_BOUNDS: "more than a year before or after its receipt; the time of receipt is used",
    TIMESTAMP_UNREADABLE: "a timestamp that cannot be read; the time of receipt is used",
    UNIT_ALIAS: "a unit under another name; translated",
    TRANSACTION_ID_ODD: "a 1.6 transaction id that no central system gives out; bound by connector and time",
    REGISTER_ELSEWHERE: "no energy register at the outlet; that of the place nearest to it is used",
    CONNECTOR_COUNT_ABSURD: "a number of connectors that no station has; the bound is used",
    ENERGY_CONTRADICTS_POWER: "the register moved ten times more or less than the power in the same message says",
    UNIT_RELABELLED: "by rule: a value in another unit than its label says; converted",
    REGISTER_PER_SESSION: "by rule: the register counts from zero in each session; so the start is zero",
    START_REGISTER_UNKNOWN: "by rule: a register of zero at the start means nothing; the first real one counts",
    LOCAL_TIME_MARKED_UTC: "by rule: local time marked as UTC; read in the charger's configured zone",
    VALUE_ALIAS: "by rule: a vendor's own word; replaced by the listed one",
    MEASURAND_NAMED: "by rule: a sample without measurand; named after its unit and context",
    CONNECTOR_RENUMBERED: "by rule: numbers of EVSE and connector brought to one topology",
}
