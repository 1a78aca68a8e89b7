// A real OpenID provider on loopback, with its own pages for signing in. Usage: node provider.js PORT CLIENTS
// CLIENTS: JSON, as the provider has them.
import { Provider } from "oidc-provider";

const [port, clients] = process.argv.slice(2);
const people = {
  anna: { email: "anna@example.org", email_verified: true, name: "Anna Example", groups: ["ops", "staff"] },
  ben: { email: "ben@example.org", email_verified: true, name: "Ben Example", groups: ["staff"] },
};

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: JSON.parse(clients),
  claims: {
    openid: ["sub", "auth_time"],
    email: ["email", "email_verified"],
    profile: ["name"],
    groups: ["groups"],
  },
  features: { devInteractions: { enabled: true }, deviceFlow: { enabled: true } },
  pkce: { required: () => true },
  findAccount: (_, id) => people[id] && { accountId: id, claims: async () => ({ sub: id, ...people[id] }) },
});
provider.listen(Number(port), "127.0.0.1", () => console.log("listening"));
