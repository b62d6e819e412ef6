"""What the back office's accounts may be allowed; `sales.desk.roles` bundles it."""

VIEW = "view_sale"
ADD = "add_sale"
CHANGE = "change_sale"
DELETE = "delete_sale"
CONTROL = "control_sale"
REHEARSE = "rehearse_sale"
VIEW_ORDERS = "view_orders"
FULFIL_ORDERS = "fulfil_orders"
CANCEL_ORDERS = "cancel_orders"
EXPORT_ORDERS = "export_orders"

# What Django does not give a model by itself: `Sale.Meta.permissions`.
OWN_PERMISSIONS = (
    (CONTROL, "Can pause, resume, close, extend and restock a sale while it runs"),
    (REHEARSE, "Can rehearse a sale"),
    (VIEW_ORDERS, "Can see orders and who placed them"),
    (FULFIL_ORDERS, "Can mark orders as fulfilled"),
    (CANCEL_ORDERS, "Can cancel orders"),
    (EXPORT_ORDERS, "Can export orders"),
)
