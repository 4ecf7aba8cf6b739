// Makes the replica set of one member and the user of Mien's database. Harmless to repeat.
const fs = require("fs");
const secret = (name) => fs.readFileSync(`/run/secrets/${name}`, "utf8").trim();

const admin = db.getSiblingDB("admin");
admin.auth("root", secret("mongo_root_password"));
try {
  rs.status();
} catch (refusal) {
  if (refusal.codeName !== "NotYetInitialized") throw refusal;
  rs.initiate({ _id: "rs0", members: [{ _id: 0, host: "mongo:27017" }] });
}
while (!db.hello().isWritablePrimary) sleep(200);

const mien = db.getSiblingDB("mien");
const password = secret("mongo_password");
if (mien.getUser("mien")) {
  mien.changeUserPassword("mien", password);
} else {
  mien.createUser({ user: "mien", pwd: password, roles: [{ role: "readWrite", db: "mien" }] });
}
print("replica set and user are there");
