// JSON without loss: whole numbers beyond 2^53, such as ids, keep their digits (where the browser knows how; elsewhere they are rounded).
const canKeep = typeof JSON.rawJSON === "function";

export const parse = (text) => JSON.parse(text, canKeep ? keep : undefined);

function keep(_, value, context) {
  const isCut = typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value);
  return isCut && /^-?\d+$/.test(context?.source ?? "") ? JSON.rawJSON(context.source) : value;
}

/** The digits of a number kept so, or nothing. */
export const digits = (value) => (canKeep && JSON.isRawJSON(value) ? value.rawJSON : null);
