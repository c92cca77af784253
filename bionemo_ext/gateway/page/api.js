// The gateway's routes.

export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let token = sessionStorage.getItem("token") ?? "";

export function setToken(value) {
  token = value;
  sessionStorage.setItem("token", value);
}

async function call(path, options = {}) {
  const headers = { ...options.headers, ...(token && { Authorization: `Bearer ${token}` }) };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal(0, "The gateway does not answer. Is it still running?");
  }
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw new Refusal(response.status, problem.message ?? `The gateway answered ${response.status}.`);
  }
  return response;
}

const post = (path, body, signal) =>
  call(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });

export const models = async () => (await (await call("v1/models")).json()).data;
export const tracks = async (body, signal) => (await post("api/tracks", body, signal)).json();
export const scan = async (body, signal) => (await post("api/scan", body, signal)).json();

/** Contact probabilities, 0 to 65,535, row by row. */
export async function contacts(body, signal) {
  const bytes = await (await post("api/contacts", body, signal)).arrayBuffer();
  const view = new DataView(bytes); // little-endian, whatever this machine is
  return Uint16Array.from({ length: bytes.byteLength / 2 }, (_, i) => view.getUint16(2 * i, true));
}
