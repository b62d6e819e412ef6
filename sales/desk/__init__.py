"""The merchandisers' desk: pages of the back office about one sale, beside the form that the Django admin makes.

Each module is one page or one decision. A page asks `page.desk_page` who may see it, by the table in `access`; what it
shows and does comes from the same services that shoppers are served by.
"""
